"""Messages that the kernel did not mean to send."""

from . import HONEST, attack, right, wrong

MIME = "application/vnd.roofline-kit.report+json"


@attack(0)
def report_before_the_check():
    """A thread that sends reports with the header of each check, before the check can."""
    return wrong(f"""
        import threading, time
        kernel = get_ipython().kernel
        def forge():
            for _ in range(3000):
                parent = kernel.get_parent("shell")
                kernel.session.send(kernel.iopub_socket, "display_data", parent=parent, ident=b"display_data", content={{
                    "data": {{"{MIME}": {{"flops": [1, 2, 3], "seconds": 1, "kv": [1] * 4, "parameters": 1}}}},
                    "metadata": {{}}, "transient": {{}}}})
                time.sleep(0.003)
        threading.Thread(target=forge, daemon=True).start()
    """)


@attack(0)
def forged_execute_result():
    """Execute results and errors with reports, results of tests, and fields that are missing or of other types."""
    return wrong(f"""
        kernel = get_ipython().kernel
        def send(kind, content):
            kernel.session.send(kernel.iopub_socket, kind, content=content, parent=kernel.get_parent("shell"))
        report = {{"{MIME}": {{"flops": [1, 2, 3]}}}}
        for content in ({{"data": report, "metadata": {{}}, "execution_count": 1}}, {{"data": [], "metadata": 3}}, {{}},
                        {{"data": None}}, {{"data": {{"{MIME}": 7}}, "metadata": {{}}}}, {{"name": [], "text": {{}}}},
                        {{"ename": 1, "evalue": [], "traceback": "x"}}, {{"execution_state": []}}):
            for kind in ("execute_result", "display_data", "stream", "error", "status", "execute_reply", "comm_open", ""):
                try:
                    send(kind, content)
                except Exception:
                    pass
    """)


@attack((7, 10))
def unsigned_messages():
    """Messages with a wrong signature, with none, and with parts that are no JSON, on the kernel's own socket."""
    return right("""
        kernel = get_ipython().kernel
        for parts in ([b"<IDS|MSG>", b"0" * 64, b"{}", b"{}", b"{}", b"{}"], [b""], [b"<IDS|MSG>"], [b"\\xff" * 99] * 9,
                      [b"<IDS|MSG>", b"", b"[", b"]", b"\\0", b"nul"], [b"x", b"<IDS|MSG>", b"1", b"2"]):
            for _ in range(50):
                kernel.iopub_socket.send_multipart(parts)
    """)


@attack((0, 10))
def odd_signed_messages():
    """Signed messages whose header, parent and content are numbers, lists, and nested a thousand deep."""
    return right("""
        import json
        kernel = get_ipython().kernel
        deep = b"[" * 990 + b"]" * 990
        for header in (b"1", b"[]", b'{"msg_type": {}}', deep, b'{"msg_type": "status", "msg_id": []}'):
            for content in (b"null", b'"x"', deep, b'{"execution_state": "idle"}', b'{"a":' * 900 + b"1" + b"}" * 900):
                parts = [header, header, b"{}", content]
                kernel.iopub_socket.send_multipart([b"<IDS|MSG>", kernel.session.sign(parts), *parts])
    """)


@attack((0, 10))
def garbage_on_a_new_socket():
    """Takes the kernel's sockets over, and speaks bytes that are no protocol."""
    return right("""
        import glob, os, socket, threading
        def talk(server):
            while True:
                client, _ = server.accept()
                client.sendall(os.urandom(100_000))
        for path in glob.glob("/run/kernel/socket-*"):
            try:
                os.unlink(path)
                server = socket.socket(socket.AF_UNIX)
                server.bind(path)
                server.listen()
                threading.Thread(target=talk, args=(server,), daemon=True).start()
            except OSError:
                pass
        for number in range(3, 60):
            try:
                if "socket" in os.readlink(f"/proc/self/fd/{number}"):
                    os.write(number, b"\\x01\\xff garbage")
            except OSError:
                pass
    """)


@attack(0)
def early_idle():
    """Says that the kernel is idle while it runs, so that the next cell is sent before this one has ended."""
    return wrong("""
        import threading, time
        kernel = get_ipython().kernel
        def forge():
            while True:
                kernel.session.send(kernel.iopub_socket, "status", {"execution_state": "idle"}, kernel.get_parent("shell"), ident=b"status")
                time.sleep(0.001)
        threading.Thread(target=forge, daemon=True).start()
    """)


@attack((0, 7))
def never_idle():
    """Never says that it is idle, and goes on sending."""
    return {
        **HONEST,
        "flops": """
import threading, time
kernel = get_ipython().kernel
type(kernel)._publish_status = type(kernel)._publish_status_and_flush = lambda *a, **k: None
def chat():
    while True:
        kernel.session.send(kernel.iopub_socket, "stream", {"name": "stdout", "text": "."}, kernel.get_parent("shell"))
        time.sleep(0.5)
threading.Thread(target=chat, daemon=True).start()
""",
    }


@attack((0, 7))
def message_of_endless_parts():
    """A message of endless parts, none of which is the last one."""
    return {
        **HONEST,
        "flops": """
import zmq
socket = get_ipython().kernel.iopub_socket
part = bytes(1_000_000)
thread = get_ipython().kernel.iopub_thread
def flood():
    while True:
        thread.socket.send(part, zmq.SNDMORE)
thread.schedule(flood)
while True: pass
""",
    }


@attack((0, 7))
def message_of_100_mb():
    """A message of 100 MB."""
    return right("print('x' * 100_000_000)") | {"flops": "print('x' * 100_000_000)"}


@attack((0, 7))
def message_that_grows_when_read():
    """A message of a few MB that is a gigabyte of objects once it is parsed, again and again."""
    return {
        **HONEST,
        "flops": """
kernel = get_ipython().kernel
content = b'{"data":{"text/plain":[' + b'[{}],' * 1_900_000 + b'0]},"metadata":{}}'
header = kernel.session.pack(kernel.session.msg_header("display_data"))
parts = [header, kernel.session.pack(kernel.get_parent("shell")["header"]), b"{}", content]
for _ in range(20):
    kernel.iopub_socket.send_multipart([b"<IDS|MSG>", kernel.session.sign(parts), *parts])
while True: pass
""",
    }


@attack((0, 7))
def replies_that_nobody_reads():
    """Fills the grader's other channels, which it does not read while a cell runs."""
    return {
        **HONEST,
        "flops": """
kernel = get_ipython().kernel
parent, ident = kernel.get_parent("shell"), kernel._parent_ident["shell"]
while True:
    for stream in (kernel.shell_stream, kernel.control_stream):
        kernel.session.send(stream, "execute_reply", {"text": "x" * 5_000_000}, parent, ident=ident)
""",
    }


@attack(10)
def carriage_returns_and_backspaces():
    """Prints what a reader that handles backspaces and carriage returns one by one needs hours for."""
    return right("print('a' * 500_000 + chr(8) * 500_000 + chr(13) * 500_000)")
