"""Mutation tests: does a fast test fail when one expression of Ballast's code is wrong?"""
