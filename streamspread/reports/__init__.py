"""Tables, figures and pages, which read results and never make them.

A stored result is a run; runs make a collection; sections choose tables and charts of it; a table or chart is
written for a terminal, a page, Markdown or a file.

* how a number, a word or a colour is written: ``text``, ``texts`` (``languages/``), ``theme``
* ``table``: one table, four outputs; what is printed: ``spectra_table``, ``plan_table``,
  ``comparison_tables``, ``history``; what other programs read: ``export``
* results of a report: ``run``, ``collection``; what they say: ``finding``
* charts: ``chart`` says what one is; they are in ``charts/``, their rows in ``rows``; ``figures`` prints
  them, ``plot`` shows them in a notebook
* the report: ``build`` writes it, from ``sections`` (tables) and ``page`` (``templates/``, ``assets/``)

Other rooms add charts, sections and languages: a file in their own folder ``charts``, ``sections`` or
``languages``.
"""
