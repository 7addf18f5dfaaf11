"""Which algorithms do the pages ask a student to write? A file for each page, two questions in each."""
