"""The study: four networks, every tap, and what the answers depend on; and the claims of the paper.

No other room knows this one. Its command, charts, section and texts are found in its folders ``commands``,
``charts``, ``sections`` and ``languages``.
"""
