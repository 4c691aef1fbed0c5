"""What a gate found, for people and for programs: terminal, JSON, JUnit XML, Markdown. Nothing here decides anything.

They stand beside the gate and not in repdiag.report, because a layer below may not know its types. None of them holds
the time or the place of a run: two runs of one gate on equal inputs give the same bytes.
"""
