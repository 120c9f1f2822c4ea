"""The Hugging Face Hub on this machine, for anybody's tests.

    with LocalHub() as hub, hub.using(tmp_path):
        create_repo("me/flowers", repo_type="dataset")
        hub.faults.add(Drop(acted=True), path="*/commit/*")
        ...

`huggingface_hub` and `datasets` talk to it as they are; nothing of them is replaced.
"""

from d3data.testing.faults import Answer, Cut, Delay, Drop, Fault, Flip, Request, Rule
from d3data.testing.hub import LocalHub
from d3data.testing.refusals import Refusal
from d3data.testing.repository import Repository
from d3data.testing.site import User

__all__ = [
    "Answer",
    "Cut",
    "Delay",
    "Drop",
    "Fault",
    "Flip",
    "LocalHub",
    "Refusal",
    "Repository",
    "Request",
    "Rule",
    "User",
]
