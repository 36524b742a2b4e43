"""Tables, figures and pages, which read results and never make them.

Where things are:

* results read from files, and what runs have in common: ``runs``, ``data``, ``courses``
* how a number, a word or a colour is written: ``text``, ``naming``, ``labels`` (``labels_ja``), ``theme``
* what the terminal and notebooks show: ``tables``, ``columns``, ``choosing``, ``notebook``, ``plots``
* what other programs read: ``records``, ``frames``
* what the results say: ``finding``, ``claims``, ``limits``
* tables of the report: ``summary``, ``classes``, ``similarity``, those of the page's threshold in ``live``
* charts: a file for each in ``figures/``; their parts in ``marks``, their rows in ``rows`` and ``points``
* files: ``build`` calls ``page`` (``markup``, ``page_data``, ``assets/``), ``markdown``, ``pictures``
* spread over a training: ``over_training``, ``training_page``; the study's experiments: ``experiments/``
"""
