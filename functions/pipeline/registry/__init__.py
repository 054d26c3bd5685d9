"""The model package group, which holds every trained model."""
