"""Every text of a figure, table or page, by language. The English ones are here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from streamspread.errors import OptionError
from streamspread.reports.labels_ja import JA

if TYPE_CHECKING:
    from streamspread.reports.runs import Run, Training

EN = {
    # figures
    "layer": "layer",
    "dimensions": "dimensions D",
    "dimensions_title": "Dimensions of the vectorised feature map",
    "shares_title": "K({tau}) and its share of the dimensions, K({tau})/D",
    "spread": "Spread by layer: K(τ)/D, and in grey the most that it can be",
    "spread_axis": "share of the dimensions, K({tau})/D",
    "components_axis": "principal components",
    "components_tau_axis": "principal components, K({tau})",
    "variance_axis": "share of the variance",
    "part_conv": "convolution",
    "part_bn": "batch norm",
    "part_relu": "ReLU",
    "threshold_axis": "variance fraction τ",
    "samples_axis": "images N",
    "over_samples_title": "Components over the number of images",
    "figures": "Figures",
    "over_training_title": "Share of the dimensions over the training",
    "training_finding": "At τ = {tau}, from step {first} to step {last}: {found}.",
    "training_rises": "the share rises at {layers}",
    "training_falls": "the share falls at {layers}",
    "training_stays": "it is the same at {layers}",
    "looks": "looked at",
    "steps_axis": "steps",
    "step": "step",
    "settled_axis": "K(N) as a share of K at the largest N",
    "depth_axis": "layer, from the first convolution (0) to the last (1)",
    "convolutions": "{n} convolutions",
    "untrained": "untrained",
    "epoch": "{epochs} epoch",
    "epochs": "{epochs} epochs",
    "smoothed": "{trained}, label smoothing {smoothing}",
    "averaged": "{trained}, then the mean over {averaged} more",
    "latent_title": "t-SNE of {network}, {samples} images; above each: components, variance they hold",
    "latent_some": "{shown} of the images are shown, evenly chosen",
    "caption_images": "N = {images} images",
    "roles": "Spread by kind of layer, over depth",
    "place_axis": "layer, counted from the input",
    "course": "Spread over checkpoints",
    "checkpoints": "epochs, or checkpoint",
    "latent_layer": "{layer}:{space}{k} components, {share} %",
    "latent_constant": "{layer}: constant",
    # claims
    "claims": "The paper's claims",
    "claim": "claim",
    "claim_early": "The first half of the convolutions spreads over at most 1 % of its dimensions",
    "claim_grows": "The share grows from every layer to the next",
    "claim_c3_over_c2": "c3 spreads over a larger share than c2, although c2 has more dimensions",
    "claim_equal_dims": "In no3 the share grows from c3 to c6, which have the same dimensions",
    "short_early": "first half ≤ 1 %",
    "short_grows": "grows from layer to layer",
    "short_c3_over_c2": "c3 > c2",
    "short_equal_dims": "no3: grows from c3 to c6",
    "numbers": "numbers, K({tau})/D",
    "verdict": "verdict",
    "verdict_holds": "holds",
    "verdict_fails": "does not hold",
    "verdict_unclear": "unclear: the intervals are too wide",
    "verdict_unsettled": "not settled",
    "verdict_other_data": "other data",
    "verdict_absent": "not tested",
    "verdict_rule": (
        "A verdict takes CIFAR-10, also as JPEG (else: other data), at least {images} images, and numbers "
        "that more images could not turn round (else: not settled). They count as able to raise K of a layer "
        "as far as its estimate at N → ∞; without an estimate, to lower 1/K by {fall}/(τ·(N − 1))."
    ),
    "fails_at": "not at {where}",
    "unsettled_at": "too few images for {where}",
    "depends": "What the claims depend on",
    "circumstance": "circumstance",
    "case_tau": "τ = {value}",
    "case_part": "after {value}",
    "case_training": "{networks}: {value}",
    # tables
    "network": "network",
    "run": "run",
    "plan": "plan",
    "shape": "shape",
    "method": "method",
    "accuracy": "test accuracy",
    "image": "image {index}",
    "images": "images",
    "data": "data",
    "device": "device",
    "ceiling": "K at most",
    "closed": "closed: every K is one value, not a range, proved for these {images} images, not for more",
    "open": "low…high is a range that is proved to hold K of these images; not closed: {where}",
    "estimate": "estimated at N → ∞",
    "estimate_means": (
        "estimated at N → ∞: K of infinitely many images, from how K grows with those there are; not proved. "
        "≥ K: too few images to tell"
    ),
    "limited": "limited by the number of images",
    "limited_means": "too few to tell how many components more of them would give",
    "classes": "classes",
    "classes_title": "What labels tell",
    "classes_between": "variance between classes",
    "classes_span": "along their means",
    "classes_leading": "in as many leading components",
    "classes_within": "K({tau}) within classes",
    "classes_each": "of one class",
    "classes_mixed": "of as many of all",
    "classes_means": (
        "along their means: the share of the variance along the directions that the classes' means span, of "
        "which there are one fewer than classes; in as many leading components: no other directions of that "
        "number hold more; "
        "of one class: K of its images alone, least to most; of as many of all: the mean K of as many images "
        "drawn from all classes; neither is proved, and either is known only where inner products were summed"
    ),
    "classes_missing": "not known where a sketch was made: {layers}: take covariance or gram",
    "metrics": "Metrics",
    "metric_participation_ratio": "participation ratio",
    "metric_effective_rank": "effective rank",
    "metric_participation_ratio_unbiased": "participation ratio, unbiased",
    "metric_stable_rank": "stable rank",
    "metric_nesum": "NESum",
    "metric_rankme": "RankMe (at most N)",
    "metric_power_law_10_100": "power law α, components 10–100",
    "metric_power_law_50_500": "power law α, components 50–500",
    "metric_saturation": "saturation",
    "metric_share_of_nine": "share of the first nine",
    "metrics_missing": "–: not known from the leading eigenvalues alone; --all-eigenvalues gives it",
    # the page
    "section_answer": "What was found",
    "finding": (
        "At τ = {tau}, {run} spreads over the smallest share of its dimensions at {least} ({least_share}), "
        "and over the largest at {most} ({most_share})."
    ),
    "finding_one": "At τ = {tau}, {run} spreads over {share} of its dimensions at {layer}.",
    "finding_steps": "From a layer to the next of its kind the share rises at {rises} of {steps} steps.",
    "finding_falls": "It falls at {where}.",
    "finding_many_falls": "It falls at {where} of them.",
    "finding_alike": "So it does in {networks}.",
    "finding_constant": "All layers of {run} are constant.",
    "live_note": (
        "One value is proved for these images, not for more; a range low…high is proved to hold K of these "
        "images. †: limited by the number of images, too few to tell how many components more would give."
    ),
    "filled": "K(τ) / K at most",
    "samples": "samples",
    "at_most_samples": "up to {n} samples",
    "no_charts": "The tables are complete; the charts are missing:",
    "citation": (
        "The paper: Mizuki Dai and Kenya Jin'no, “Study on data distribution in latent variable space” "
        "(潜在変数空間でのデータ分布に関する検討, in Japanese), Tokyo City University. Its base network is "
        "that of Mizuki Dai and Kenya Jin'no, “Toward the realization of lightweight CNN”, IEICE NOLTA 2022; "
        "the networks here are a reconstruction that meets every sentence of the text."
    ),
    "copy": "copy",
    "copied": "copied",
    "scrolls": "the table goes on to the right: scroll it sideways",
    "title": "Where in the network the data spreads",
    "lead": (
        "A layer turns one image into D numbers. K(τ) is the number of principal components that hold the "
        "fraction τ of the variance over all images; K/D is the share of the layer's dimensions that the "
        "data needs. Where K is not one number but a range low…high, the range is proved to hold it. "
        "Either is proved for the images that were used, and more images can give a larger K."
    ),
    "contents": "Contents",
    "section_summary": "Networks",
    "section_claims": "The paper's claims",
    "section_figures": "Figure 3",
    "section_dimensions": "Dimensions",
    "section_explore": "One layer",
    "section_beyond": "Images, parts, depth, training",
    "section_latent": "Latent space",
    "section_compare": "Compare two runs",
    "section_tables": "All numbers",
    "section_provenance": "How every number was made",
    "figure_3": "Figure 3. Dimensions of the vectorised feature map",
    "figure_4": "Figure 4. K(τ)/D by layer, and in grey the most that it can be",
    "threshold": "threshold τ",
    "part": "observed after",
    "choose_layer": "layer",
    "choose_run": "run",
    "scree": "Scree curve: variance held by the leading components",
    "answer": "{k} of {dim} dimensions: {share}",
    "answer_closed": "one value, proved for these {images} images, not for more",
    "answer_open": "a range, proved to hold K of these {images} images",
    "parts": "Convolution, batch norm, ReLU",
    "over_threshold": "K over τ",
    "over_samples": "K over the number of images",
    "growth": "growth of K per doubling of N, at the end",
    "growth_note": (
        "K cannot exceed N − 1; where a doubling of N still adds more than a few per cent it has not settled."
    ),
    "depth": "Depth",
    "training": "Training",
    "latent_note": (
        "Each point is an image, coloured by its class. Only which points are near each other means "
        "something; axes and distances between groups do not."
    ),
    "compare_note_differ": "These runs cannot be compared:",
    "compare_data": "different data ({a} and {b})",
    "compare_images": "not the same images ({a}; {b})",
    "compare_unknown": "not known to be the same data ({a} and {b})",
    "compare_samples": "different numbers of images ({a} and {b}), and K grows with them",
    "compare_layers": "no layer in common",
    "comparable": "Same data, same number of images: these runs can be compared.",
    "comparable_described": (
        "The same data by its description, and the same number of images: these runs can be compared."
    ),
    "run_a": "A",
    "run_b": "B",
    "second": "beside the run above",
    "change": "B / A",
    "command": "command",
    "commands": "The commands that made these results",
    "file": "file",
    "unknown": "unknown",
    "python_call": "a call from Python",
    "made_with": "Made with streamspread {version}.",
    "no_script": "The tables below are complete; the figures need JavaScript.",
    "proof": "proof",
    "weights": "weights",
    "random_weights": "random, seed {seed}",
    "training_note": "training",
    "time": "time (UTC)",
    "packages": "packages",
    "notes": "notes",
}

LANGUAGES: Mapping[str, Mapping[str, str]] = {"en": EN, "ja": JA}

#: What samples are called above, and of a result that does not say it.
USUAL = "images"

_WORDS = {
    "images": ("image", "画像", "枚"),
    "texts": ("text", "テキスト", "件"),
    "samples": ("sample", "標本", "件"),
}


def labels(lang: str, called: str = USUAL) -> Mapping[str, str]:
    """The texts of a language by key; some have {names} in them, for ``str.format``. ``called``: what samples
    are, "images", "texts" or "samples".

    Raises:
        OptionError: a language that is not there.
    """
    if lang not in LANGUAGES:
        raise OptionError(f"language {lang!r} is not there: choose from {', '.join(LANGUAGES)}")
    texts = LANGUAGES[lang]
    if called == USUAL or called not in _WORDS:
        return texts
    words = dict(zip(_WORDS[USUAL], _WORDS[called], strict=True))
    word = re.compile(r"(?<![{\w])(image)(?=s?\b(?!}))|(画像)|(枚)")  # but no name of what is filled in
    return {key: word.sub(lambda found: words[found[0]], said) for key, said in texts.items()}


def called_in(runs: Iterable[Run]) -> str:
    """What the samples of some runs are called, by a word that is right for all of them."""
    words = {str(run.spectra.provenance.get("samples_are", USUAL)) for run in runs} or {USUAL}
    return words.pop() if len(words) == 1 else "samples"


def training_label(training: Training, texts: Mapping[str, str]) -> str:
    """A training in words."""
    epochs, smoothing, averaged = training
    if not epochs and not averaged:
        return texts["untrained"]
    trained = texts["epoch" if epochs == 1 else "epochs"].format(epochs=epochs)
    if averaged:
        trained = texts["averaged"].format(trained=trained, averaged=averaged)
    return texts["smoothed"].format(trained=trained, smoothing=f"{smoothing:g}") if smoothing else trained
