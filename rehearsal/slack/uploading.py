"""The files of a workspace: announced, then received."""

from __future__ import annotations

import itertools
from dataclasses import dataclass


@dataclass(kw_only=True)
class Upload:
    """A file under way: its name, how long it was announced to be, and its bytes once they came."""

    id: str
    name: str
    length: int
    content: bytes | None = None
    done: bool = False
    title: str = ""


class Uploads:
    """The files of a workspace, by their id."""

    def __init__(self) -> None:
        self.files: dict[str, Upload] = {}
        self._ids = itertools.count(1)

    def announce(self, name: str, length: int) -> Upload:
        """A new upload of so many bytes."""
        upload = Upload(id=f"F{next(self._ids):08d}", name=name, length=length)
        self.files[upload.id] = upload
        return upload

    def receive(self, file_id: str, content: bytes) -> bool:
        """Take the bytes; False if nobody announced them, they came before, or are more or fewer than announced."""
        upload = self.files.get(file_id)
        if upload is None or upload.content is not None or len(content) != upload.length:
            return False
        upload.content = content
        return True
