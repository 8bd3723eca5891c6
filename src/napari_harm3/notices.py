"""What nothing that is shown or written may be parted from, worded once."""

RESEARCH_ONLY = "Research use only; not a medical device."
PHANTOM = "made-up cohort (phantom)"
MADE_UP = f"Trained on a {PHANTOM}: nothing here says anything about a real patient."
UNTRAINED = "The slide encoder is untrained: its weights are drawn from seed 0."
