"""Builders, fakes and checks that several folders of tests share; never part of the wheel."""
