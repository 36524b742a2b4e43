"""The claims on spectra that are made to meet them, to contradict them, and to leave them open."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamspread.reports.collection import Collection, collect
from streamspread.reports.run import Run, Training
from streamspread.results.spectra import Spectra
from streamspread.store import write
from streamspread.study.claims import Verdict, depths, judge, judge_under_conditions, trainings
from tests.spectra import NO1_DIMS, NO3_DIMS, equal_spectra, open_layer
from tests.spectra import equal_run as small_run

ALL = 50_000  # images of CIFAR-10


def equal_run(name, dims, equal, samples=ALL, **options):
    return small_run(name, dims, equal, samples=samples, **options)


def verdicts(claims):
    return {claim.name: claim.verdict.value for claim in claims}


def test_all_four_hold_where_the_share_grows(growing):
    runs = [equal_run("a", NO1_DIMS, growing), equal_run("b", NO3_DIMS, growing | {"c5": 320}, model="no3")]
    claims = judge(runs)
    assert set(verdicts(claims).values()) == {"holds"}
    early = claims[0].evidence[0]
    assert list(early.spreads) == ["c1", "c2", "c3"]
    assert early.spreads["c1"] == (70 / 65536, 70 / 65536)  # ⌈0.7 · 100⌉ of 65,536
    assert early.dims["c3"] == 32768
    assert [evidence.network for evidence in claims[3].evidence] == ["no3"]


@pytest.mark.parametrize(
    ("changed", "claim", "fails"),
    [
        ({"c3": 1000}, "early", ("c3",)),  # 700 of 32,768: 2.1 %
        ({"c6": 100}, "grows", ("c5 → c6",)),
        ({"c2": 50, "c5": 10}, "grows", ("c1 → c2", "c4 → c5")),
        ({"c3": 90, "c4": 91}, "c3_over_c2", ("c2 → c3",)),
        ({"c1": 206}, "grows", ("c1 → c2",)),
    ],
)
def test_a_claim_fails_where_the_numbers_contradict_it(growing, changed, claim, fails):
    claims = {each.name: each for each in judge([equal_run("a", NO1_DIMS, growing | changed)])}
    assert claims[claim].verdict is Verdict.fails
    assert claims[claim].evidence[0].fails == fails


def test_one_network_that_contradicts_is_enough(growing):
    good = equal_run("a", NO1_DIMS, growing)
    bad = equal_run("b", NO1_DIMS, growing | {"c6": 1}, model="no2")
    grows = judge([good, bad])[1]
    assert [evidence.verdict.value for evidence in grows.evidence] == ["holds", "fails"]
    assert grows.verdict is Verdict.fails


def test_a_random_twin_does_not_speak_for_its_network(growing, tmp_path):
    """It stands beside the network in the page; the claims are about what training made."""
    trained, twin = (equal_spectra(NO1_DIMS, growing | {"c6": c6}, ALL) for c6 in (growing["c6"], 1))
    write(Spectra(trained.values(), trained.thresholds, trained.provenance, twin), tmp_path / "a.arrow")
    networks = collect([tmp_path / "a.arrow"]).networks
    assert [run.name for run in networks] == ["a", "a, random"]
    grows = judge(networks)[1]
    assert [evidence.network for evidence in grows.evidence] == ["a"]
    assert grows.verdict is Verdict.holds


def test_no3_is_judged_by_no3_alone(growing):
    assert verdicts(judge([equal_run("a", NO1_DIMS, growing)]))["equal_dims"] == "absent"
    falls = equal_run("b", NO3_DIMS, growing | {"c5": 290}, model="no3")  # from 210 to 203 of 32,768
    claim = judge([falls])[3]
    assert (claim.verdict, claim.evidence[0].fails) == (Verdict.fails, ("c4 → c5",))


@pytest.mark.parametrize(
    ("observed", "facts"),
    [
        (["c5", "c6"], {}),
        (["gap"], {}),
        (["c1", "c2", "c3"], {"plan": "64,64,M,128,128,M,256,256"}),
        (["conv1", "fc"], {"model": "torchvision:resnet18"}),
    ],
)
def test_layers_that_are_not_all_of_a_network_say_nothing_of_all_layers(growing, observed, facts):
    dims = NO1_DIMS | {"conv1": 1000, "fc": 10}
    run = equal_run("a", dims, dict.fromkeys(observed, 5), **facts)
    by_claim = verdicts(judge([run]))
    assert (by_claim["early"], by_claim["grows"]) == ("absent", "absent")


def test_one_layer_does_not_grow():
    (evidence,) = judge([equal_run("a", NO1_DIMS, {"c1": 5})])[1].evidence
    assert evidence.verdict is Verdict.absent


def test_intervals_that_overlap_leave_a_claim_open_and_others_do_not(growing):
    run = equal_run("a", NO1_DIMS, growing)

    def with_c2(low, high):
        layers = dict(run.spectra) | {"c2": open_layer("c2", 65536, low, high, ALL)}
        return judge([Run("a", run.path, Spectra(layers.values(), (0.7,), run.facts))])

    assert verdicts(with_c2(100, 200))["c3_over_c2"] == "holds"  # up to 0.31 %, and c3 has 0.43 %
    assert verdicts(with_c2(100, 600))["c3_over_c2"] == "unclear"
    assert verdicts(with_c2(400, 600))["c3_over_c2"] == "fails"
    assert verdicts(with_c2(100, 900))["early"] == "unclear"
    assert verdicts(with_c2(700, 900))["early"] == "fails"


@given(st.lists(st.integers(1, 256), min_size=7, max_size=7), st.sampled_from([0.5, 0.7, 0.9]))
def test_claims_say_what_the_shares_say(counts, tau):
    run = equal_run("a", NO1_DIMS, dict(zip(NO1_DIMS, counts, strict=True)), samples=10**12)
    shares = [layer.spread(tau).low for layer in run.layers().values()]
    by_claim = verdicts(judge([run], tau))
    assert (by_claim["grows"] == "holds") == all(a < b for a, b in pairwise(shares))
    assert (by_claim["c3_over_c2"] == "holds") == (shares[2] > shares[1])
    assert (by_claim["early"] == "holds") == (max(shares[:3]) <= 0.01)


@pytest.mark.parametrize(
    "data",
    [
        "patches of 2 photographs, train, 50,000 images",
        "noise, 50,000 images",
        "CIFAR-100 train, 50,000 images",
        "data/cifar10-c, 50,000 images",
        "CIFAR-10 train, 50,000 images, at 64x64",
        "tensor (50000, 3, 32, 32)",
        "",
    ],
)
def test_other_data_are_shown_and_not_judged(growing, data):
    claims = judge([equal_run("a", NO1_DIMS, growing | {"c6": 1}, data=data)])
    assert [claim.verdict.value for claim in claims] == ["other_data"] * 3 + ["absent"]
    assert claims[0].evidence[0].spreads["c1"] == (70 / 65536, 70 / 65536)
    assert claims[1].evidence[0].fails == ()


@pytest.mark.parametrize(
    "data",
    [
        "CIFAR-10 train, 5,000 of 50,000 images (seed 0), at 32x32",
        "data/cifar10-jpeg train, 50,000 images, at 32x32",
        "cifar10/train.parquet, 50,000 images",
        "cifar-10-jpg/plain_text test, 10,000 images",
    ],
)
def test_cifar_10_goes_by_several_names(growing, data):
    assert verdicts(judge([equal_run("a", NO1_DIMS, growing, data=data)]))["grows"] == "holds"


def test_beside_cifar_10_other_data_do_not_count(growing):
    other = equal_run("b", NO1_DIMS, growing | {"c6": 1}, model="no2", data="noise, 50,000 images")
    claim = judge([equal_run("a", NO1_DIMS, growing), other])[1]
    assert [evidence.verdict.value for evidence in claim.evidence] == ["holds", "other_data"]
    assert claim.verdict is Verdict.holds


@pytest.mark.parametrize("changed", [{}, {"c6": 1}])
def test_fewer_than_a_thousand_images_settle_nothing(growing, changed):
    claims = judge([equal_run("a", NO1_DIMS, growing | changed, samples=999)])
    assert {claim.verdict.value for claim in claims} == {"unsettled", "absent"}
    assert claims[0].evidence[0].unsettled == ("c1", "c2", "c3")


def test_a_verdict_that_more_images_could_turn_round_is_not_given(growing):
    # K(0.7) = 310 of c3's 32,768 dimensions is 0.946 %; 1 % is 327.
    def early(samples, c3=442, c2=200):
        return judge([equal_run("a", NO1_DIMS, growing | {"c2": c2, "c3": c3}, samples=samples)])[0]

    assert early(ALL).verdict is Verdict.holds  # at most 310 / (1 − 3 · 310 / 35,000) = 318
    assert early(5_000).verdict is Verdict.unsettled
    assert early(5_000).evidence[0].unsettled == ("c3",)
    # What is over the limit stays there, since K only grows.
    assert early(5_000, c3=1000).verdict is Verdict.fails
    one_is_enough = early(5_000, c2=2000).evidence[0]
    assert (one_is_enough.fails, one_is_enough.unsettled) == (("c2",), ("c3",))


def test_equal_shares_may_come_to_differ(growing):
    grows = judge([equal_run("a", NO1_DIMS, growing | {"c1": 200})])[1]
    assert (grows.verdict, grows.evidence[0].unsettled) == (Verdict.unsettled, ("c1 → c2",))


def test_no_networks_no_verdicts():
    assert {claim.verdict for claim in judge([])} == {Verdict.absent}
    assert judge_under_conditions(Collection((), {})) == ()


def test_thresholds_of_other_results_than_the_networks_own_are_no_cases():
    equal = dict.fromkeys(NO1_DIMS, 10)
    most = equal_run("most", NO1_DIMS, equal, samples=2000, thresholds=(0.5, 0.7))
    fewer = equal_run("fewer", NO1_DIMS, equal, samples=500, thresholds=(0.7, 0.95), part="samples")
    collection = Collection((most, fewer), {})
    assert collection.thresholds == (0.5, 0.7, 0.95)
    assert [case.value for case in judge_under_conditions(collection)] == [0.5, 0.7]


def test_dependence_covers_thresholds_parts_and_trainings(study_files):
    cases = judge_under_conditions(collect(study_files))
    assert [(case.kind, case.value) for case in cases] == [
        ("tau", 0.5),
        ("tau", 0.7),
        ("part", "bn"),
        ("part", "relu"),
        ("training", Training(0)),
        ("training", Training(6)),
        ("training", Training(24)),
        ("training", Training(24, 0.1)),
    ]
    by_part = {case.value: case.claims for case in cases if case.kind == "part"}
    # after ReLU the layers of the study's files have more components, and gap is not among them
    assert list(by_part["relu"][1].evidence[0].spreads) == ["c1", "c2", "c3", "c4", "c5", "c6"]
    assert by_part["relu"][0].evidence[0].spreads["c1"].low > by_part["bn"][0].evidence[0].spreads["c1"].low


def test_trainings_hold_each_network_once_and_none_that_is_left_out():
    trained = {"weights": "none", "seed": 0, "model": "plan:4"}
    runs = (
        equal_run("usual", NO1_DIMS, dict.fromkeys(NO1_DIMS, 10), part="networks", **trained),
        equal_run("untrained", NO1_DIMS, dict.fromkeys(NO1_DIMS, 10), part="training", **trained),
        equal_run("few", NO1_DIMS, dict.fromkeys(NO1_DIMS, 10), samples=400, part="networks", **trained),
    )
    found = trainings(Collection(runs))
    assert {how: [run.name for run in group] for how, group in found.items()} == {Training(0): ["untrained"]}


def test_a_study_is_sorted_into_depths_and_trainings(study_files):
    collection = collect(study_files)
    assert [run.depth for run in depths(collection)] == [4, 6]
    assert list(trainings(collection)) == [Training(0), Training(6), Training(24), Training(24, 0.1)]
