"""Test tools that ship with the product: fakes and harnesses for our own tests and for other people's controllers.

May import anything below the roles. Nothing outside tests imports from here.
"""
