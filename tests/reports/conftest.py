"""What a small study leaves, for the tests of everything that shows it."""

import numpy as np
import pytest

from streamspread import store
from streamspread.results.embedding import Embedding, LayerEmbedding
from tests.spectra import NO1_DIMS, NO3_DIMS, equal_spectra


@pytest.fixture(scope="session")
def growing():
    """Equal eigenvalues of no1's layers under which its share grows from layer to layer."""
    return dict(zip(NO1_DIMS, (100, 200, 200, 300, 250, 400, 20), strict=True))


@pytest.fixture(scope="session")
def study_files(tmp_path_factory, growing):
    """Files as a small study leaves them: networks with all parts, two N, depths, trainings, an embedding."""
    folder = tmp_path_factory.mktemp("results")

    def put(name, dims, equal, samples=50_000, **options):
        store.write(equal_spectra(dims, equal, samples, **options), folder / f"{name}.arrow")

    def with_parts(dims, equal):
        parts = {
            name + suffix: dims[name] for name in dims for suffix in ("", ".bn", ".relu") if name != "gap"
        }
        counts = {name: equal[name.split(".")[0]] + 7 * name.count("relu") for name in parts}
        return parts | {"gap": dims["gap"]}, counts | {"gap": equal["gap"]}

    note = {"epochs": "24", "label_smoothing": "0", "accuracy": "0.8805"}
    trained = {"weights": "shipped", "weights_sha256": "ab" * 32, "weights_note": note, "seed": 0}
    command = ["streamspread", "study", "--data", "parquet:it's here"]
    for model, dims in (("no1", NO1_DIMS), ("no3", NO3_DIMS)):
        facts = {"model": model, "plan": f"plan of {model}", "command": command, **trained}
        put(model, *with_parts(dims, growing), part="networks", **facts)
        fewer = {name: count - 5 for name, count in growing.items()}
        put(f"{model}-half", dims, fewer, samples=25_000, part="samples", **facts)
    for depth in (4, 6):
        dims = {f"c{i}": 1000 * i for i in range(1, depth + 1)} | {"gap": 64}
        equal = dict.fromkeys(dims, 10 * depth)
        put(f"depth{depth}", dims, equal, part="depth", model=f"plan:{depth}", weights="none", seed=0)
    for epochs, smoothing in ((0, "0"), (6, "0"), (24, "0.1")):
        facts = {"weights": "x", "weights_note": {"epochs": str(epochs), "label_smoothing": smoothing}}
        facts = facts if epochs else {"weights": "none"}
        put(f"no1-{epochs}", NO1_DIMS, growing, part="training", **facts)
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 2)).astype(np.float32)
    layers = [
        LayerEmbedding(layer=name, shape=(9,), dim=9, axes=4, share=share, points_N2=points)
        for name, share in (("c1", 0.5), ("gap", 0.9))
    ]
    embedding = Embedding(
        layers, labels_N=np.arange(40) % 3, classes=("cat", "dog", "ship"), provenance={"model": "no1"}
    )
    store.write_embedding(embedding, folder / "no1-tsne.arrow")
    return sorted(folder.glob("*.arrow"))
