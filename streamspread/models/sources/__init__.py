"""What ``--model`` can name: a file for each source, which defines ``SOURCE`` (a ``models.ModelSource``)."""
