"""What the course adds to JupyterLab's server: to look at a page changes no byte of it, and terminals find its command.

Lab writes the kernel's version of Python into each notebook that it opens, so a page that was only looked at would
differ from what git knows, and the next update of the course would stop at it. Pages are stored without a version, and
stay so.

Where nobody sees what the server writes (a log, a desktop, a hub), Jupyter's terminals are login shells, whose
/etc/profile sets PATH anew: `roofline-kit` would not be found there, though cells find it. They keep the server's PATH.

A package beside the kit, because a server imports it at its start, and the kit's algebra would cost a second and 40 MB.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "roofline_lab"}]


def _load_jupyter_server_extension(app: Any) -> None:
    app.contents_manager.register_pre_save_hook(without_version)
    terminals = app.web_app.settings.get("terminal_manager")
    if terminals and not app.terminado_settings.get("shell_command"):  # else somebody has chosen a shell
        terminals.shell_command = [word for word in terminals.shell_command if word != "-l"]


def without_version(model: dict[str, Any], path: str, contents_manager: Any, **_: Any) -> None:
    """Saves a notebook without the version of Python, if it is stored without one; all others as they are.

    model : what is to be saved, as the server has it; its `content` is changed. path : on the server, with slashes.
    """
    if model["type"] != "notebook":
        return
    try:
        stored = json.loads(Path(contents_manager.root_dir, *path.split("/")).read_text("utf-8"))
        language = stored["metadata"]["language_info"]
    except (OSError, ValueError, LookupError, TypeError):
        return  # a new file, or one that is no notebook yet
    if "version" not in language:
        model["content"]["metadata"].get("language_info", {}).pop("version", None)
