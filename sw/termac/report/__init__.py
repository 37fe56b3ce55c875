"""Tables and pictures of images, layers and memories."""
