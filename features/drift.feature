Feature: a specification tells what a rollout will do

  As an author of a setup service
  I want that my scripts hear the same, and may say the same, under their specification
  as in a rollout
  So that what I have specified is what will happen.

  Background:
    Given an environment with one orchestrator
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts         | its setup service |
      | search  | 1.0.0   | offline, online | runs already      |

  Scenario Outline: of a service, by a setup service that <kind>
    Given somebody starts the programs of the app shop
    And a setup service that <kind>, whose online script fails at first, has these scripts:
      | search 1.0.0 offline |
      | search 1.0.0 online  |
    When its scripts run in its specification
    And its scripts run in a rollout of shop 1.0.0
    Then they have heard and said the same

    Examples:
      | kind                        |
      | uses the SDK                |
      | knows only NATS and replies |

  Scenario Outline: of the app, by a setup service that <kind>
    Given version 1.0.0 of the app shop, with these services:
      | service | version |
      | search  | 1.0.0   |
    And the app shop has a setup script of its own, whose setup service runs already
    And somebody starts the programs of the app shop
    And a setup service that <kind>, whose setup script fails at first, has these scripts:
      | shop 1.0.0 setup |
    When its scripts run in its specification
    And its scripts run in a rollout of shop 1.0.0
    Then they have heard and said the same

    Examples:
      | kind                        |
      | uses the SDK                |
      | knows only NATS and replies |
