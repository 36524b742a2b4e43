"""Results on disk: Arrow files that other programs read as they are, grams as safetensors, and how each was
made."""

from streamspread.store.embeddings import read_embedding, write_embedding
from streamspread.store.facts import Subject, provenance, run_facts
from streamspread.store.files import check_writable, place, write_text
from streamspread.store.grams import read_grams, write_grams
from streamspread.store.history import LINES, Lines, is_history, read_history, write_history
from streamspread.store.spectra import read, read_any, write

__all__ = [
    "LINES",
    "Lines",
    "Subject",
    "check_writable",
    "is_history",
    "place",
    "provenance",
    "read",
    "read_any",
    "read_embedding",
    "read_grams",
    "read_history",
    "run_facts",
    "write",
    "write_embedding",
    "write_grams",
    "write_history",
    "write_text",
]
