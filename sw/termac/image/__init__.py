"""What a compiled network is: memories, program and meaning, and the folder that holds them."""

from termac.image.folder import load_image, save_image
from termac.image.image import Image, LayerInfo
from termac.image.storage import Storage, channel_groups

__all__ = ["Image", "LayerInfo", "Storage", "channel_groups", "load_image", "save_image"]
