"""What a model is made of: nets, priors, likelihoods, losses, techniques and optimisers; one class each."""
