"""The ways to sum a layer, a file each; a file's name is the method's, and ``METHOD`` its class."""
