"""What goes on after its cell has ended."""

from . import HONEST, WRONG, attack, right


@attack((0, 7))
def late_thread_publishes():
    """A thread that sends reports into all later cells, as if each check had."""
    return {
        **HONEST,
        "flops": """
import threading, time
from IPython.display import display
def later():
    for _ in range(400):
        display({"application/vnd.roofline-kit.report+json": {"flops": [1, 2, 3]}}, raw=True)
        print("late")
        time.sleep(0.01)
threading.Thread(target=later).start()
flops = N
""",
    }


@attack((0, 10))
def late_kill():
    """A thread that ends the process while a later answer is graded."""
    return right("import os, threading\nthreading.Timer(0.4, os._exit, (0,)).start()")


@attack(10)
def late_processes():
    """Processes that outlive the kernel: in a session of their own, stopped, waiting, ignoring every signal."""
    return right("""
        import os, signal, time
        for _ in range(5):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    for number in range(1, 32):
                        try:
                            signal.signal(number, signal.SIG_IGN)
                        except OSError:
                            pass
                    while True:
                        time.sleep(1000)
                os._exit(0)
        os.system("nohup setsid sleep 1000 >/dev/null 2>&1 &")
    """)


@attack((0, 10))
def late_exit_handlers():
    """Functions that run when the kernel ends, and loop there."""
    return right("""
        import atexit, signal, threading
        def loop(*_):
            while True: pass
        atexit.register(loop)
        threading._register_atexit(loop)
        signal.signal(signal.SIGTERM, loop)
        signal.signal(signal.SIGINT, loop)
    """)


@attack(0)
def late_change_of_names():
    """A thread that changes what other answers and checks have defined, while they run."""
    return {
        **WRONG,
        "flops": """
import threading, time
names = get_ipython().user_ns
def change():
    while True:
        names.update(flops=1, seconds=1.0, kv=lambda **k: 1, parameters=1, _check=lambda: None)
        time.sleep(0.0005)
threading.Thread(target=change, daemon=True).start()
""",
    }
