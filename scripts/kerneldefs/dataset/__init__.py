"""Candidates of many serving configs -> one staged tree and its report."""
