"""HARM3-Fusion, section 2 of the paper, one idea a file."""
