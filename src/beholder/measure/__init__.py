"""Arrays in, numbers out: what a recogniser is worth, and how sure one can be of that figure.

intervals  Wilson and bootstrap intervals          counts  hits, guesses and truths per class, observed and redrawn
scores     single-label and multi-label scores     curves  measures of a ranking (average precision)
"""
