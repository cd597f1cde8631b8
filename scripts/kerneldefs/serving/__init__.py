"""Cookbook entry, hardware, model config -> serving configs. Imports neither torch nor sglang."""
