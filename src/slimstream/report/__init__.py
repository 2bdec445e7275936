"""What a person looks at: plots, heat maps, one page."""
