"""Which numbers are the lecture's, is my answer right, and how do I begin? What the pages of the course ask for."""
