"""What an operator does, with typed results: the command line prints them, the page and tests use them.

Nothing here parses options or prints. What takes time reports through ``Progress``; what fails raises OperationError or
``ProblemsError``.
"""
