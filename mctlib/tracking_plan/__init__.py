"""The tracking plan: `plan` reads it, `formats` knows other tools' plans, `check` judges by it."""
