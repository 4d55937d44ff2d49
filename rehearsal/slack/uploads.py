"""Files as apps upload them since 2025: an address is asked for, the bytes are sent to it, and the upload is completed.

https://docs.slack.dev/messaging/working-with-files#upload
"""

from __future__ import annotations

import json
from typing import Any

from rehearsal.slack.errors import RefusedError
from rehearsal.slack.members import BOT_USER
from rehearsal.slack.uploading import Upload
from rehearsal.slack.workspace import Workspace

Json = dict[str, Any]
MOST_BYTES = 1024**3


def get_upload_url(workspace: Workspace, arguments: Json) -> Json:
    """files.getUploadURLExternal: where the bytes of a file go."""
    name, length = str(arguments.get("filename") or ""), str(arguments.get("length") or "")
    if not name or not length.isdecimal():
        raise RefusedError("invalid_arguments")
    if not 0 < int(length) <= MOST_BYTES:
        raise RefusedError("file_upload_size_restricted")
    upload = workspace.uploads.announce(name, int(length))
    return {"upload_url": f"{workspace.sockets.base}/upload/{upload.id}", "file_id": upload.id}


def complete_upload(workspace: Workspace, arguments: Json) -> Json:
    """files.completeUploadExternal: share files whose bytes came, as one message if a channel is named."""
    given = arguments.get("files")
    files = json.loads(given) if isinstance(given, str) else given
    if not isinstance(files, list) or not files:
        raise RefusedError("invalid_arguments")
    uploads = [workspace.uploads.files.get(str(file.get("id"))) for file in files]
    if any(upload is None or upload.content is None or upload.done for upload in uploads):
        raise RefusedError("file_not_found")
    for upload, file in zip(uploads, files, strict=True):
        if upload:
            upload.title = str(file.get("title") or "")
    shared = [_file(upload) for upload in uploads if upload]
    if arguments.get("channel_id"):
        _share(workspace, arguments, shared)
    for upload in uploads:
        if upload:
            upload.done = True
    return {"files": [{"id": file["id"], "title": file["title"]} for file in shared]}


def uploaded(workspace: Workspace, given: Any) -> list[Json]:
    """The files of these ids as a message holds them: what `file_ids` of chat.update adds. Refused unless all are complete."""
    ids = given.split(",") if isinstance(given, str) else given or []
    uploads = [workspace.uploads.files.get(str(one)) for one in ids]
    if any(upload is None or not upload.done for upload in uploads):
        raise RefusedError("file_not_found")
    return [_file(upload) for upload in uploads if upload]


def _share(workspace: Workspace, arguments: Json, shared: list[Json]) -> None:
    channel = workspace.store.channel(str(arguments["channel_id"]))
    thread_ts = str(arguments.get("thread_ts") or "") or None
    if thread_ts and not any(message["ts"] == thread_ts for message in channel.messages):
        raise RefusedError("invalid_thread_ts")
    text = str(arguments.get("initial_comment") or "")
    message = workspace.store.bot_message(channel, text, [], thread_ts=thread_ts, files=shared)
    workspace.journal.changed("message", channel=channel.id, ts=message["ts"])


def _file(upload: Upload) -> Json:
    kind = upload.name.rpartition(".")[2]
    return {
        "id": upload.id,
        "name": upload.name,
        "title": upload.title or upload.name,
        "filetype": kind,
        "size": upload.length,
        "user": BOT_USER,
        "url_private": f"/files/{upload.id}/{upload.name}",
    }
