"""Limits of the data and of the scores, which the report tells before anything is relied on."""

from slimstream.stages.evaluate.report.types import Report


def notes(report: Report) -> list[str]:
    """Limits of the data and of the scores, one paragraph each."""
    told = []
    if report.simulated:
        told.append(
            f"All clips are simulated: rendered pictures of {report.simulated}. The numbers show that "
            "the pipeline works; they say nothing about a real plant."
        )
    if report.conditional:
        groups = "one group" if report.test_groups == 1 else f"{report.test_groups} groups"
        told.append(
            f"The test part holds {groups} only (a group: clips that must stay together, such as those "
            "of one camera). The intervals tell how far the scores may be off for further clips of "
            "these groups; they cannot tell how well the models will do on a new one."
        )
    if without := report.split.get("without"):
        told.append(
            f"The clips are not split by {' or '.join(without)}: groups are near-twin sets, so clips of one "
            f"{without[0]} may lie in train and in test, and the scores may be flattered."
        )
    if leaking := report.split.get("leaks", {}).get("test"):
        told.append(
            f"{len(leaking)} test clips have a near twin among training or validation clips: the split came "
            f"with the data (column {report.split['given']}), and the scores are flattered."
        )
    if report.absent:
        told.append(
            f"No test clip of {', '.join(report.absent)}: macro means run over the remaining classes, "
            "and nothing is known about these."
        )
    flawless = [m.title for m in report.models if m.scores["accuracy"] == 1]
    if flawless:
        # Hanley & Lippman-Hand 1983: no event among n still allows a rate of 3/n at 95 %.
        told.append(
            f"No error in {report.test_clips} clips ({', '.join(flawless)}): resampling then gives an "
            "interval without width, which promises too much. Even if all clips were independent, up to "
            f"{100 * min(1, 3 / report.test_clips):.0f} % errors would be compatible with it (rule of three)."
        )
    plain, small = report.model("baseline"), report.model(report.preferred)
    if plain and small and plain.scores["macro_f1"] > small.scores["macro_f1"]:
        told.append(
            f"“{plain.title}”, which learns nothing but its last layer, has a macro-F1 of "
            f"{plain.scores['macro_f1']:.2f} here, more than the {small.scores['macro_f1']:.2f} of the "
            "compressed model: on these clips training a network has not paid off in quality."
        )
    shortcuts = [
        s["cue"].replace("_", " ") for s in (report.validation or {}).get("shortcuts", []) if s["flagged"]
    ]
    if shortcuts:
        told.append(
            f"Cues that no model should use predict the class in these clips: {', '.join(shortcuts)}. "
            "A score may be flattered by them; see Data and validation."
        )
    return told
