"""Results on disk: Arrow files that pyarrow, Polars and pandas read as they are, with how they were made."""

from streamspread.store.embeddings import read_embedding, write_embedding
from streamspread.store.facts import Subject, provenance, run_facts
from streamspread.store.files import check_writable, place
from streamspread.store.results import read_any
from streamspread.store.spectra import read, write

__all__ = [
    "Subject",
    "check_writable",
    "place",
    "provenance",
    "read",
    "read_any",
    "read_embedding",
    "run_facts",
    "write",
    "write_embedding",
]
