"""Arrays in, numbers out: what a model is worth, and how sure one can be of that figure.

intervals  Wilson and bootstrap intervals          counts  hits, predictions and truths per class, observed and redrawn
scores     single-label and multi-label scores     curves  measures of a ranking (average precision)
ordinal    scores of grades                        families  how logits become probabilities and answers
"""
