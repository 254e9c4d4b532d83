"""What others measured, in the forms in which they keep it: texts and tables in, observations out."""
