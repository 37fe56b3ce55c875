// What Verilator's FST writer wants of the LZ4 library, so that recording waves needs no other
// package than a C++ compiler: the block format of https://github.com/lz4/lz4, written greedily.
// A block is a list of sequences: token (lengths), literals, distance and length of a copy. Its
// last five bytes are literals, and no copy starts within its last twelve.

#ifndef TERMAC_LZ4_H
#define TERMAC_LZ4_H

#include <cstdint>
#include <cstring>
#include <vector>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

namespace termac_lz4 {

inline uint32_t four(const uint8_t* at) {
    uint32_t value;
    std::memcpy(&value, at, 4);
    return value;
}

// What a length has beyond the 15 of its half of the token.
inline uint8_t* length(uint8_t* out, int rest) {
    for (; rest >= 255; rest -= 255) *out++ = 255;
    *out++ = static_cast<uint8_t>(rest);
    return out;
}

// Literals from `from` to `to`, then a copy of `copied` bytes from `distance` before; 0: no copy.
inline uint8_t* sequence(uint8_t* out, const uint8_t* from, const uint8_t* to, int distance,
                         int copied) {
    const int literals = static_cast<int>(to - from);
    const int beyond = copied ? copied - 4 : 0;
    *out++ = static_cast<uint8_t>((literals < 15 ? literals : 15) << 4 | (beyond < 15 ? beyond : 15));
    if (literals >= 15) out = length(out, literals - 15);
    std::memcpy(out, from, literals);
    out += literals;
    if (!copied) return out;
    *out++ = static_cast<uint8_t>(distance);
    *out++ = static_cast<uint8_t>(distance >> 8);
    return beyond >= 15 ? length(out, beyond - 15) : out;
}

}  // namespace termac_lz4

// Returns the size of the block, 0 if `capacity` could be too small.
inline int LZ4_compress_default(const char* source, char* target, int size, int capacity) {
    if (capacity < LZ4_compressBound(size)) return 0;
    const uint8_t* const start = reinterpret_cast<const uint8_t*>(source);
    const uint8_t* const end = start + size;
    uint8_t* out = reinterpret_cast<uint8_t*>(target);
    std::vector<int> seen(1 << 12, -1);  // place of four bytes, by their hash
    const uint8_t* anchor = start;
    for (const uint8_t* at = start; end - at > 12;) {
        int& place = seen[termac_lz4::four(at) * 2654435761u >> 20];
        const uint8_t* const from = start + place;
        const bool same = place >= 0 && at - from < 65536 && termac_lz4::four(from) == termac_lz4::four(at);
        place = static_cast<int>(at - start);
        if (!same) {
            ++at;
            continue;
        }
        int copied = 4;
        while (end - at - copied > 5 && from[copied] == at[copied]) ++copied;
        out = termac_lz4::sequence(out, anchor, at, static_cast<int>(at - from), copied);
        at += copied;
        anchor = at;
    }
    out = termac_lz4::sequence(out, anchor, end, 0, 0);
    return static_cast<int>(out - reinterpret_cast<uint8_t*>(target));
}

#endif
