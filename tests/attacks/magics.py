"""IPython's own language."""

from . import HONEST, OF, attack, right, wrong


@attack((7, 10))
def reset():
    """%reset: all names are gone, those of the frame and the checks too."""
    return right() | {"kv": "%reset -f\n" + HONEST["kv"]}


@attack(0, searches=True)
def shell():
    """!commands and %%script: a shell that looks for the instructor's notebook and starts programs."""
    return wrong("""
        files = !find / -path /proc -prune -o -name lib -prune -o -name "*.ipynb" -print 2>/dev/null
        said = !cat /etc/shadow ~root/.bash_history ~root/.ssh/id_rsa 2>/dev/null
        !(setsid sleep 1000 >/dev/null 2>&1 &)
        found = list(files) + list(said)
        raise (LookupError if found else EOFError)(str(found))
    """)


@attack(0)
def run_and_load():
    """%run, %load, %store, %edit and %macro on files of others."""
    return wrong("""
        %run /srv/assignment/assignment.ipynb
        %load ../assignment/assignment.ipynb
        %store -r
        %rerun 1-100
        %recall 1
        %history -g -f /tmp/all
    """)


@attack((7, 10))
def cell_magics():
    """Cell magics in place of answers: %%script, %%writefile, %%capture, and some that do not exist."""
    return right() | {"flops": "%%script bash\nkill -9 $PPID 1 -1\nsleep 1"}


@attack(10)
def magics_that_stay():
    """Magics that change how later cells run: %pdb, %automagic, %autocall, %xmode, %config, %matplotlib, %autoawait."""
    return right("""
        %pdb on
        %automagic on
        %autocall 2
        %xmode Verbose
        %config InteractiveShell.ast_node_interactivity = 'all'
        %config InteractiveShell.cache_size = 0
        %autoawait trio
        %precision 2
    """)


@attack(0)
def aliases_of_python():
    """Makes a magic, and an alias, of each name that a check uses."""
    return wrong("""
        ip = get_ipython()
        for name in ("from", "import", "report", "draw", "at", "cells"):
            ip.register_magic_function(lambda line: None, "line", name)
        ip.run_line_magic("alias", "report echo passed")
    """)


@attack(0)
def nothing_but_comments():
    """Markers that nbval, nbgrader and otter obey, in place of answers."""
    return dict.fromkeys(
        OF, "# NBVAL_SKIP\n# NBVAL_IGNORE_OUTPUT\n# NBVAL_CHECK_OUTPUT\n### BEGIN HIDDEN TESTS\n# otter: ignore\n"
    )


@attack(10)
def markers_beside_right_answers():
    """Markers of nbval and of our own in right answers: none is obeyed, none costs a point."""
    return right("# NBVAL_RAISES_EXCEPTION\n# NBVAL_SKIP\n### END SOLUTION\n### BEGIN SOLUTION\n#: flops = 0")
