"""What ``--data`` can name: a file for each source, which defines ``SOURCE`` (a ``datasets.DataSource``)."""
