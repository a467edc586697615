"""Readers of documents, one module a format.

They run in the child process of ``worker.documents.bounded``, which has little memory and is ended when it takes too long: the
bytes may be hostile. Each reader imports its library itself, so that a missing extra costs only the documents that need it.
"""
