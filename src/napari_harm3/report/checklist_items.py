"""The items of CLAIM (2024 update) and TRIPOD+AI (2024), in our own words.

Numbers are the checklists' own; read the checklists themselves for their wording:
Tejani et al., Radiology: Artificial Intelligence 2024 (CLAIM); Collins et al., BMJ 2024
(TRIPOD+AI). ``fact`` names what the software can say of an item; without one, only the
authors can.
"""

from typing import NamedTuple


class Item(NamedTuple):
    """One line of a checklist."""

    number: str
    section: str
    asks: str
    fact: str = ""


CLAIM = tuple(
    Item(*line)
    for line in (
        ("1", "Title and abstract", "The title says AI and which kind", "method"),
        ("2", "Title and abstract", "Structured abstract"),
        ("3", "Introduction", "Background, intended use and clinical role"),
        ("4", "Introduction", "Aims and hypotheses"),
        ("5", "Study design", "Prospective or retrospective"),
        ("6", "Study design", "Goal of the study"),
        ("7", "Data", "Where the data come from", "cohort"),
        ("8", "Data", "Who was included and excluded", "left_out"),
        ("9", "Data", "Preprocessing", "preprocessing"),
        ("10", "Data", "Which parts of the data were used", "subsets"),
        ("11", "Data", "De-identification"),
        ("12", "Data", "Missing data", "missing"),
        ("13", "Data", "Acquisition protocol of the images", "images"),
        ("14", "Reference standard", "How the reference was obtained", "label"),
        ("15", "Reference standard", "Why this reference"),
        ("16", "Reference standard", "Who made the annotations, and how"),
        ("17", "Reference standard", "Annotation of the test cases"),
        ("18", "Reference standard", "Variability between and within raters"),
        ("19", "Partitions", "How cases were assigned to partitions", "splits"),
        ("20", "Partitions", "At which level partitions are apart", "disjoint"),
        ("21", "Testing data", "Intended sample size", "size"),
        ("22", "Model", "Full description of the model", "model"),
        ("23", "Model", "Software and versions", "versions"),
        ("24", "Model", "How weights were initialised", "initialised"),
        ("25", "Training", "Training in detail", "training"),
        ("26", "Training", "How the final model was chosen", "selection"),
        ("27", "Training", "Ensembles", "ensemble"),
        ("28", "Evaluation", "Metrics", "measures"),
        ("29", "Evaluation", "Significance and uncertainty", "uncertainty"),
        ("30", "Evaluation", "Robustness and sensitivity analyses", "robustness"),
        ("31", "Evaluation", "Explanation of the predictions", "explanation"),
        ("32", "Evaluation", "Evaluation on internal data", "internal"),
        ("33", "Evaluation", "Test on external data", "external"),
        ("34", "Evaluation", "Registration of a clinical trial"),
        ("35", "Results: data", "Numbers included and excluded", "flow"),
        ("36", "Results: data", "Characteristics of cases by partition", "by_fold"),
        ("37", "Results: model", "Performance with its uncertainty", "performance"),
        ("38", "Results: model", "Diagnostic performance and precision", "diagnostic"),
        ("39", "Results: model", "Analysis of failures", "failures"),
        ("40", "Discussion", "Limitations", "limits"),
        ("41", "Discussion", "What it means for practice"),
        ("42", "Other", "Full protocol or further technical details"),
        ("43", "Other", "Availability of software, model and data", "software"),
        ("44", "Other", "Funding and the funders' role"),
    )
)

TRIPOD_AI = tuple(
    Item(*line)
    for line in (
        ("1", "Title", "Prediction model, population and outcome are named"),
        ("2", "Abstract", "By TRIPOD+AI for abstracts"),
        ("3a", "Background", "Healthcare context, rationale, existing models"),
        ("3b", "Background", "Target population, purpose, users"),
        ("3c", "Background", "Known inequalities between groups"),
        ("4", "Objectives", "Development, evaluation, or both", "objective"),
        ("5a", "Data", "Sources and how representative they are", "cohort"),
        ("5b", "Data", "Dates of accrual and follow-up"),
        ("6a", "Participants", "Setting, number and place of centres"),
        ("6b", "Participants", "Who was eligible", "left_out"),
        ("6c", "Participants", "Treatments, and how they were handled"),
        ("7", "Data preparation", "Preparation and quality checks", "preprocessing"),
        ("8a", "Outcome", "Definition, time and assessment", "label"),
        ("8b", "Outcome", "Who assessed it, if it needs judgement"),
        ("8c", "Outcome", "Blinding of its assessment"),
        ("9a", "Predictors", "Choice of the first predictors", "subsets"),
        ("9b", "Predictors", "Definition and measurement of each", "images"),
        ("9c", "Predictors", "Who assessed them, if they need judgement"),
        ("10", "Sample size", "How it was arrived at", "size"),
        ("11", "Missing data", "How they were handled", "missing"),
        ("12a", "Analysis", "How data were used and split", "splits"),
        ("12b", "Analysis", "How predictors entered", "preprocessing"),
        ("12c", "Analysis", "Model, building, tuning, internal validation", "training"),
        ("12d", "Analysis", "Differences between clusters", "clusters"),
        ("12e", "Analysis", "Measures and plots of performance", "measures"),
        ("12f", "Analysis", "Updating, such as recalibration", "recalibration"),
        ("12g", "Analysis", "How predictions were computed", "predictions"),
        ("13", "Class imbalance", "Methods, and recalibration after", "imbalance"),
        ("14", "Fairness", "What was done for it"),
        ("15", "Model output", "Output and thresholds", "output"),
        ("16", "Training and evaluation", "How their data differ", "disjoint"),
        ("17", "Ethics", "Approval and consent"),
        ("18a", "Open science", "Funding"),
        ("18b", "Open science", "Conflicts of interest"),
        ("18c", "Open science", "Protocol"),
        ("18d", "Open science", "Registration"),
        ("18e", "Open science", "Data sharing"),
        ("18f", "Open science", "Code sharing", "software"),
        ("19", "Patients and public", "Their involvement"),
        ("20a", "Participants", "Flow, with and without the outcome", "flow"),
        ("20b", "Participants", "Characteristics, by group", "by_fold"),
        ("20c", "Participants", "Predictors in training and in evaluation"),
        ("21", "Development", "Cases and events of each analysis", "by_fold"),
        ("22", "Specification", "The full model, so that it can be used", "model"),
        ("23a", "Performance", "With intervals, and in key groups", "performance"),
        ("23b", "Performance", "Differences between clusters", "clusters"),
        ("24", "Updating", "Its results", "recalibration"),
        ("25", "Interpretation", "Results, fairness, earlier studies"),
        ("26", "Limitations", "Of the study", "limits"),
        ("27a", "Usability", "Poor or absent input at the time of use", "missing_use"),
        ("27b", "Usability", "What users must do and know", "users"),
        ("27c", "Usability", "Next steps and generalisability"),
    )
)
