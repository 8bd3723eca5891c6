"""Read a cancer patient's MRI and biopsy slide together."""
