"""Which colours? Those of Okabe and Ito, which colour-blind readers can tell apart, on a light and on a dark page.

Blue is memory-bound and vermilion is compute-bound, in text as well as in colour. What is neither, the curves of a
sweep, the parts of a stack and a warning, has colours of its own.
"""

from collections import namedtuple

Theme = namedtuple(
    "Theme",
    "page ink faint grid memory compute memory_region compute_region path other third fourth warning warning_region",
)
THEMES = {
    "light": Theme(
        "#ffffff", "#1a1a1a", "#5f6368", "#e3e6ea", "#0067a5", "#b84a00", "#eef5fb", "#fdf5e6",
        "#00795a", "#8c3f85", "#6b6b1f", "#a3315f", "#a3315f", "#faedf2"
    ),
    "dark": Theme(
        "#16181d", "#f1f1f1", "#a7adb5", "#30353d", "#5cb8f2", "#f59a4c", "#18242f", "#2b241a",
        "#3ecf9e", "#d996d3", "#c6c65a", "#f58bb0", "#f58bb0", "#2e1a24"
    ),
}  # fmt: skip
# Five hues, the four of a theme and its grey, and four of them again, darker or lighter.
AGAIN = {
    "light": ("#004d3a", "#552650", "#45450f", "#33373c"),
    "dark": ("#a9ecd6", "#f0d3ee", "#ecec9f", "#dfe3e8"),
}
SERIES = {
    name: (look.path, look.other, look.third, look.fourth, look.faint, *AGAIN[name]) for name, look in THEMES.items()
}
