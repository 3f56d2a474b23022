"""What tests of users and of driver authors need: the contract suite, the tripwire."""

__all__ = ()
