"""What a check's source goes through on its way to be run."""

from . import attack, wrong


@attack(0)
def ast_transformer():
    """An AST transformer that rewrites each call of `report`."""
    return wrong("""
        import ast
        class Rewrite(ast.NodeTransformer):
            def visit_Call(self, node):
                self.generic_visit(node)
                if getattr(node.func, "id", "") == "report":
                    for keyword in node.keywords:
                        keyword.value = ast.Constant(4096)
                return node
        get_ipython().ast_transformers.append(Rewrite())
    """)


@attack(0)
def input_transformer():
    """Input transformers that put a report of the student's own in the place of a check."""
    return wrong("""
        def rewrite(lines):
            if not any("report(" in line for line in lines):
                return lines
            return ["from roofline_kit.grading.cells import report\\n", "report(flops=[1], kv=[1], seconds=1, parameters=1)"]
        get_ipython().input_transformers_cleanup.append(rewrite)
        get_ipython().input_transformers_post.append(rewrite)
    """)


@attack(0)
def do_execute_is_replaced():
    """Replaces the kernel's `do_execute`: no later cell is run, and all are said to be fine."""
    return wrong("""
        async def do_execute(self, code, *a, **k):
            from IPython.display import display
            display({"application/vnd.roofline-kit.report+json": {"flops": 1, "seconds": 1, "kv": 1, "parameters": 1}}, raw=True)
            return {"status": "ok", "execution_count": 1, "user_expressions": {}, "payload": []}
        type(get_ipython().kernel).do_execute = do_execute
    """)


@attack(0)
def run_cell_is_replaced():
    """Replaces the shell's `run_cell` and `run_cell_async` by functions that skip checks."""
    return wrong("""
        from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
        run = InteractiveShell.run_cell_async
        async def run_cell_async(self, source, *a, **k):
            return await run(self, "pass" if "report" in source else source, *a, **k)
        InteractiveShell.run_cell_async = run_cell_async
        get_ipython().run_cell = lambda *a, **k: ExecutionResult(None)
    """)


@attack(0)
def frames_of_the_check():
    """Looks for the right values in the frames that call it, in the check's source, and among all objects."""
    answers = wrong()
    answers["kv"] = """
def kv(tokens, heads):
    import gc, sys
    frame, found = sys._getframe(), []
    while frame:
        found += [value for name, value in {**frame.f_globals, **frame.f_locals}.items() if name in ("expected", "kv")]
        frame = frame.f_back
    found += [each["kv"] for each in gc.get_objects() if isinstance(each, dict) and isinstance(each.get("kv"), list)]
    numbers = [value for value in found if isinstance(value, int)]
    return numbers[0] if numbers else 0
"""
    return answers


@attack(0)
def trace_rewrites_locals():
    """A trace function and a changed `compile` that look at a check, and change what it has."""
    return wrong("""
        import builtins, sys
        compiled = builtins.compile
        def compile(source, *a, **k):
            return compiled("pass" if "report" in str(source) else source, *a, **k)
        builtins.compile = compile
        def trace(frame, event, arg):
            if frame.f_code.co_name == "report":
                frame.f_locals["values"].update({name: 1 for name in frame.f_locals.get("values", {})})
            return trace
        sys.settrace(trace)
    """)


@attack(0)
def events_and_imports():
    """Callbacks before and after each cell, and an import hook, which undo what a check imports."""
    return wrong("""
        import builtins
        imported = builtins.__import__
        def __import__(name, *a, **k):
            module = imported(name, *a, **k)
            if name.endswith("grading.cells"):
                module.report = module.at = lambda *a, **k: 1
            return module
        builtins.__import__ = __import__
        ip = get_ipython()
        ip.events.register("pre_run_cell", lambda info: ip.user_ns.update(flops=1, kv=1))
        ip.events.register("post_run_cell", lambda result: ip.user_ns.update(flops=1, kv=1))
    """)


@attack(0)
def hooks_that_outlive_their_cell():
    """A timer, finalizers, hooks of the collector, the profiler and the auditor: each changes what a check is to tell."""
    return wrong("""
        import gc, signal, sys, threading, weakref
        class Gone: pass
        def change(*_):
            for frame in sys._current_frames().values():
                while frame is not None:
                    for name in ("values", "told"):
                        kept = frame.f_locals.get(name)
                        if isinstance(kept, dict):
                            kept.update(dict.fromkeys(kept, 1))
                    frame = frame.f_back
            return change
        def again(*_):
            change()
            globals()["gone"] = gone = Gone()
            weakref.finalize(gone, again)
        again()
        gc.callbacks.append(change)
        sys.setprofile(lambda frame, event, arg: change() if frame.f_code.co_name in ("report", "_told") else None)
        sys.addaudithook(lambda event, args: change() if event == "compile" else None)
        signal.signal(signal.SIGALRM, change)
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.2)
    """)
