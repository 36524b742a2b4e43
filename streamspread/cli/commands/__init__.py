"""The commands, a file each; a file's name is the command's, and ``COMMAND`` says what it does."""
