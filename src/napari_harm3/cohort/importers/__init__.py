"""Other people's folders as a cohort table: BIDS, nnU-Net, a template, DICOM."""
