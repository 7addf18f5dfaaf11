"""How are hundreds graded, fairly and safely? Assignments with nbval: `roofline-kit --help`, and docs/grading.md.

A submission gives its answers and nothing else. They are put into the instructor's notebook, which runs behind walls,
in a kernel of its own; its check cells report values, and the values are judged outside. So no expected value is ever
where a student's code could read it.

    cells        what check cells call: draw, at, Memory, report        (runs in the kernel)
    visible      what visible cells call: hint, show, plain loops
    nursery      how a kernel begins, and the warm parent of kernels    (runs outside, with nothing in it)
    limits       what a submission may use
    syscalls     what it may ask of Linux
    shown        what it can read of this machine
    enclosed     a check that looks at each answer on its own
    assignment   the instructor's notebook, and the release made of it
    platforms    what Canvas and Gradescope call a student's files
    source       what a text says without being run
    matching     which cell of a file is which answer
    submission   what is taken from a file that anybody may have written
    archive      the files in a zip file
    sandbox      a kernel behind walls
    handed_in    which files belong to whom
    judge        the values of a check against the instructor's
    runner       nbval's collector and cell runner, on such a kernel
    grade        many submissions: processes, results, what was graded already
    people       who is in the class
    decisions    what a person decided
    grades       what everybody gets
    tables       grades for you, and for Canvas
    release      whether an assignment is fair, and the students' notebook
    publish      the students' repository
    report       all pages and tables
    look         one submission, cell by cell
    selfcheck    a student's look at their own
    autograder   grading inside of Gradescope
    cluster      grading as a job array
    commands     the commands

A module imports only what stands before it.
"""
