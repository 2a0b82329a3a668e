Feature: bringing an app live on this machine

  As somebody who develops an app of several services
  I want one command that starts them all and runs what a new version needs
  So that I see the whole app at work, and need not remember what has run.

  Background:
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts         | depends on |
      | stock   | 1.0.0   |                 |            |
      | search  | 1.0.0   | offline, online | stock      |
    And the app shop has a setup script of its own

  Scenario: the first time, everything runs and is told
    Given the offline script of search 1.0.0 prints "creating the index"
    And the setup script of shop 1.0.0 logs "telling everybody"
    And the online script of search 1.0.0 deals with 12 items, "added the goods"
    When I run "golive up --once shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      ▸ bus: nats://127.0.0.1:<number>, its data in shop/.golive
      * rollout <id>: shop 1.0.0, 5 steps
      1. search/offline run the offline script of 1.0.0
      2. stock/traffic bring 1.0.0 online
      3. search/traffic bring 1.0.0 online after stock/traffic
      4. search/online run the online script of 1.0.0 after search/traffic
      5. shop/setup run the setup script of 1.0.0
      → deployment-search-1.0.0-offline-start
      ← deployment-search-1.0.0-offline-done (<duration>)
      ✓ stock 1.0.0 is online, confirmed by 1 instance (<duration>)
      ✓ search 1.0.0 is online, confirmed by 1 instance (<duration>)
      → deployment-search-1.0.0-online-start
      ← deployment-search-1.0.0-online-done (<duration>, 12 items…, added the goods)
      → shop-1.0.0-setting-up
      ← shop-1.0.0-set-up (<duration>)
      ✓ shop 1.0.0 is live: completed in <duration>
      """
    And the story tells "search setup | creating the index"
    And the story tells "shop setup | info telling everybody"
    And the story does not tell "shop/setup | telling everybody"
    And the answer is:
      """
      shop 1.0.0 is online
      SERVICE VERSION INSTANCES TRY IT
      stock   1.0.0   1         -
      search  1.0.0   1         -
      """
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 1.0.0 online  | 1     |
      | shop 1.0.0 setup     | 1     |

  Scenario: the second time, no script runs
    Given I have run "golive up --once shop"
    When I run "golive up --once shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      1. search/offline run the offline script of 1.0.0 skipped: ran <time> in rollout <id>
      = every script has run in this environment: none is run again
      ✓ shop 1.0.0 is live: completed in <duration>
      """
    And the answer holds "shop 1.0.0 is online"
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 1.0.0 online  | 1     |
      | shop 1.0.0 setup     | 1     |

  @long
  Scenario: an older version than what has run here
    Given I have run "golive up --once shop"
    And version 0.9.0 of the app shop, with these services:
      | service | version | scripts |
      | stock   | 0.9.0   |         |
    When I run "golive up --once shop"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: shop 0.9.0 is older than 1.0.0, which has been live here
      golive: hint: to begin with nothing, in a data folder of its own: golive up --data FOLDER shop
      golive: hint: to bring it on top of what the newer one has left: golive up --allow-older shop
      """
    When I run "golive up --once --data another shop"
    Then it ends with code 0
    When I run "golive up --once --allow-older shop"
    Then it ends with code 0

  @long
  Scenario: of a changed version, only what is new runs
    Given I have run "golive up --once shop"
    And version 1.1.0 of the app shop, with these services:
      | service | version | scripts         | depends on |
      | stock   | 1.0.0   |                 |            |
      | search  | 1.0.0   | offline, online | stock      |
      | mail    | 1.0.0   | online          |            |
    When I run "golive up --once shop"
    Then it ends with code 0
    And the story tells "← deployment-mail-1.0.0-online-done (<duration>)"
    And the answer holds "mail 1.0.0 1 -"
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 1.0.0 online  | 1     |
      | shop 1.0.0 setup     | 1     |
      | mail 1.0.0 online    | 1     |

  Scenario: it stays up until Ctrl-C
    When I start "golive up shop"
    Then the answer holds these lines:
      """
      shop 1.0.0 is online
      In another terminal here: golive status, golive show <id>, golive ledger
      Ctrl-C stops everything.
      """
    And no setup service runs
    And search answers as version 1.0.0
    When I press Ctrl-C
    Then it ends with code 0

  # Its version before takes no traffic over the relay: nobody has to be there for it.
  @long
  Scenario Outline: it is undone after up was started anew, by a setup service that <is>
    Given version 1.0.0 of the app shop, with these services:
      | service | version | instances |
      | search  | 1.0.0   | 0         |
    And I have run "golive up --once shop"
    And version 2.0.0 of the app shop, with these services:
      | service | version | instances | scripts         | reverts         | its setup service |
      | search  | 2.0.0   | 0         | offline, online | offline, online | <setup service>   |
    And I have run "golive up --once shop"
    When I start "golive up shop"
    Then the answer holds "shop 2.0.0 is online"
    And no setup service runs
    When I run "golive --nats BUS backward shop" beside it
    Then the story tells, in this order:
      """
      = every script has run in this environment: none is run again
      ▸ starting search setup 2.0.0: …
      * taken backward by …
      → deployment-search-2.0.0-online-revert-start (attempt 2)
      ← deployment-search-2.0.0-online-reverted (<duration>)
      → deployment-search-2.0.0-offline-revert-start (attempt 2)
      ← deployment-search-2.0.0-offline-reverted (<duration>)
      ✓ shop 2.0.0 is undone: what was online before is online
      ▪ the services stay up for you to look at: Ctrl-C stops them
      """
    And the story does not tell "golive: error: …"
    And these scripts have run:
      | script                      | times |
      | search 2.0.0 offline        | 1     |
      | search 2.0.0 online         | 1     |
      | search 2.0.0 offline revert | 1     |
      | search 2.0.0 online revert  | 1     |
    When I press Ctrl-C
    Then it ends with code 1

    Examples:
      | is                     | setup service      |
      | is on the SDK          | a setup service    |
      | knows nothing of ours  | bare, replies text |

  @long
  Scenario: what cannot be undone is said at once
    Given version 1.0.0 of the app shop, with these services:
      | service | version | instances |
      | search  | 1.0.0   | 0         |
    And I have run "golive up --once shop"
    And version 2.0.0 of the app shop, with these services:
      | service | version | instances | scripts         | reverts |
      | search  | 2.0.0   | 0         | offline, online | online  |
    When I start "golive up shop"
    Then the answer holds "shop 2.0.0 is online"
    When I run "golive --nats BUS backward shop"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: nobody listens to the revert of search/offline of 2.0.0: nothing was changed
      """

  @long
  Scenario: what runs already is not started
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts | its setup service |
      | stock   | 1.0.0   |         |                   |
      | search  | 1.0.0   | online  | runs already      |
    When I start "golive up shop"
    Then the story tells "… state=waiting step=search/online for=<duration>: nobody listens to deployment-search-1.0.0-online-start"
    When somebody starts the setup service of search 1.0.0 with the scripts online
    Then the answer holds "shop 1.0.0 is online"

  Scenario: as many instances as must be alive
    Given version 1.0.0 of the app shop, with these services:
      | service | version | instances |
      | stock   | 1.0.0   | 3         |
    When I run "golive up --once shop"
    Then it ends with code 0
    And the story tells "✓ stock 1.0.0 is online, confirmed by 3 instances (<duration>)"
    And the answer holds "stock 1.0.0 3 -"

  @long
  Scenario: what takes long is told of every 10 seconds
    Given the offline script of search 1.0.0 deals with 512 of 1204 items and then takes until I say so
    When I start "golive up --once shop"
    Then the story tells "… state=running step=search/offline done=512 total=1204 … for=<duration>"
    When I let the offline script of search 1.0.0 end
    Then it ends with code 0

  @long
  Scenario: on a bus that runs already
    Given an environment with one orchestrator
    When I run "golive up --once shop"
    Then it ends with code 0
    And the story tells "▸ bus: nats://127.0.0.1:<number>"
    And the answer holds "shop 1.0.0 is online"
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 1.0.0 online  | 1     |
      | shop 1.0.0 setup     | 1     |
    When I run "golive status"
    Then it ends with code 0
    And the answer holds "shop 1.0.0: rollout <id> completed <ago>"

  @long
  Scenario: twice at the same time
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    When I run "golive up shop"
    Then it ends with code 1
    And there is no answer
    And I am told:
      """
      golive: error: data folder is in use by another process: …/shop/.golive
      golive: hint: is golive up running there already? stop it, or choose another folder with --data
      """
    And search answers as version 1.0.0
