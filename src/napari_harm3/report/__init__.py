"""Tables, figures, case reports, the radiologist's verdicts."""
