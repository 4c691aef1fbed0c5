"""The list as tasks for Label Studio, by its documented JSON, and the labeling interface that goes with them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from repdiag.audits.samples import samples_of
from repdiag.audits.types import Audit
from repdiag.report.json_form import plain
from repdiag.report.text import clean, visible

LOCAL_FILES = "/data/local-files/?d="
"""Where Label Studio serves files of this machine: the path behind it is relative to its document root."""


def tasks(audit: Audit, prefix: str = LOCAL_FILES) -> list[dict[str, Any]]:
    """One task per sample: `data.image` is `prefix` and the sample's path, quoted; the probe's answer a prediction.

    The score of a prediction is the probe's confidence (left out where it is not known); the given label, the risk and
    the reason are beside the image.
    """
    encoder = clean(str(audit.report.encoder.get("name") or "encoder"))
    made = []
    for one in audit.reviewed:
        task: dict[str, Any] = {
            "data": {
                "image": prefix + quote(clean(one.path)),
                "id": one.id,
                "label": one.label or "",
                "risk": one.risk,
                "group": one.group,
                "action": one.action.value,
                "reason": "; ".join(one.reasons),
            }
        }
        if one.prediction is not None:
            choice = {"from_name": "class", "to_name": "image", "type": "choices"}
            task["predictions"] = [
                {
                    "model_version": encoder,
                    **({"score": one.confidence} if one.confidence == one.confidence else {}),
                    "result": [{**choice, "value": {"choices": [one.prediction]}}],
                }
            ]
        made.append(plain(task))
    return made


def interface(audit: Audit) -> str:
    """The labeling interface: the image, what is known of it, and a choice of all classes of the report."""
    samples = samples_of(audit.report)
    names = {
        name for column in (samples.label, samples.prediction) for name in column.tolist() if name is not None
    }
    listed = [str(name) for name in audit.report.classes.columns.get("class", ())]
    names_in_order = [*listed, *sorted(names - set(listed))]
    choices = "\n".join(f"    <Choice value={quoteattr(visible(clean(name)))}/>" for name in names_in_order)
    return (
        "<View>\n"
        '  <Header value="$group"/>\n'
        '  <Image name="image" value="$image"/>\n'
        '  <Text name="reason" value="$reason"/>\n'
        '  <Choices name="class" toName="image" choice="single" showInLine="true">\n'
        f"{choices}\n"
        "  </Choices>\n"
        "</View>\n"
    )
